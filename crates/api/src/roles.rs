//! What a process is for.

/// One thing that a process may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Answering queries from the store.
    Query,
    /// Appending what sources see to the log.
    Ingest,
}

/// The things that a process is for, or that something matters to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Appending what sources see to the log.
    pub ingest: bool,
    /// Answering queries from the store.
    pub query: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self::BOTH
    }
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Query, Self::Ingest];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Ingest => "ingest",
        }
    }

    /// The roles with it alone among them.
    pub(crate) fn alone(self) -> Roles {
        match self {
            Self::Query => Roles::QUERY,
            Self::Ingest => Roles::INGEST,
        }
    }

    /// The role that a word stands for.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl Roles {
    /// Every role.
    pub(crate) const BOTH: Self = Self {
        ingest: true,
        query: true,
    };
    /// Queries alone.
    pub(crate) const QUERY: Self = Self {
        ingest: false,
        query: true,
    };
    /// Ingestion alone.
    pub(crate) const INGEST: Self = Self {
        ingest: true,
        query: false,
    };

    /// Whether a role is among them.
    pub(crate) fn has(self, role: Role) -> bool {
        match role {
            Role::Query => self.query,
            Role::Ingest => self.ingest,
        }
    }

    /// Those that are among them.
    pub(crate) fn each(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}
