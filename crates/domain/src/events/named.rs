//! Names of choices, as requests, commands and files have them.

/// Gives each of a few choices its name.
macro_rules! named {
    ($type:ident, $kind:literal, $($variant:ident = $name:literal),*) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $name,)*
                })
            }
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }

        impl std::str::FromStr for $type {
            type Err = $crate::primitives::ParseError;

            fn from_str(text: &str) -> Result<Self, $crate::primitives::ParseError> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err($crate::primitives::ParseError::new($kind, concat!("expected one of", $(" ", $name),*))),
                }
            }
        }
    };
}

pub(super) use named;
