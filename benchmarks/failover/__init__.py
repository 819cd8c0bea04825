"""What clients notice when a part of the system dies, stalls or hands over, and whether anything is lost."""
