//! Warpline's top floor: command line, configuration, listeners and wiring.
