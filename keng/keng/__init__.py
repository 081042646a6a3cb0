"""The umbrella command of Kẻng: demo, doctor, provision, bench, and each part's own command."""
