//! What plans may and may not hold.
