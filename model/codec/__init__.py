"""Network and stream together: pictures to streams and back."""
