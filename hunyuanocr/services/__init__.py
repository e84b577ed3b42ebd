"""Services that run in addition to the requests: watched folder, job queue, camera, records, sync, webhooks."""
