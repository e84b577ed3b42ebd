"""What works by itself beside the requests: the watched folder and the queued jobs."""
