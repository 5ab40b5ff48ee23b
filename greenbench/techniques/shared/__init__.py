"""What techniques of several families need."""
