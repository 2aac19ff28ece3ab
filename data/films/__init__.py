"""From raw endoscopic video to clips that can be learned from."""
