mod memory;
mod region;
