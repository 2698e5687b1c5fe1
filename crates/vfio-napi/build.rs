//! Tells the linker how the addon finds Node-API.

fn main() {
    napi_build::setup();
}
