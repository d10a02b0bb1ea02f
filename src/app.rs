//! Builds the world and the writers from the settings.
