//! Tests that drive a controller as a host does.

mod admin;
mod chaos;
mod driver;
mod hostile;
mod interrupts;
mod io;
mod messages;
mod registers;
mod space;
