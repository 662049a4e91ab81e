"""Files of ours: written whole or not at all, downloaded, cached, in the user's directories."""
