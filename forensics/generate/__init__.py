"""Text-to-image models whose memory the program audits. One folder or file a generator."""
