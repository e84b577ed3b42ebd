"""What the appliance keeps: records, jobs, outbox. SQLite in the data folder, or PostgreSQL by URL."""
