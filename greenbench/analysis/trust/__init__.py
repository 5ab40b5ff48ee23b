"""Before anything rests on a record: what it says, against its own windows and items."""
