"""Persistent data of the appliance: records, jobs, outbox. SQLite in the data folder, or PostgreSQL by URL."""
