"""Who works when: admission, dispatch, worker processes as the pool sees them."""
