"""What several tests use: stand-ins, programs, fixtures."""
