"""What is kept until ingest's receipt, and the times in it."""
