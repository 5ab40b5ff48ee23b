"""What engines share that are servers: their processes, the requests to them, and scoring through them."""
