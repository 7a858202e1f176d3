"""The dataset format: write, index, describe, verify and read shards. No crawler, model or decoder here."""
