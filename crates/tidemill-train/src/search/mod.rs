//! Grid and random search of parameters.
