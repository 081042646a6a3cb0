"""What loudspeakers are ordered: commands on their way, announcements, the programme."""
