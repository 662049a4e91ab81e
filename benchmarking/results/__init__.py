"""What was measured, as pure data: the ground that everything else stands on."""
