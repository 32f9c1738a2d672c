//! What a process is for.

/// One thing that a process may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Answering queries from the store.
    Query,
    /// Appending what sources see to the log.
    Ingest,
    /// Keeping final rows as files, and answering from them.
    Lake,
}

/// The things that a process is for, or that something matters to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Appending what sources see to the log.
    pub ingest: bool,
    /// Answering queries from the store.
    pub query: bool,
    /// Keeping final rows as files, and answering from them.
    pub lake: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self::ALL
    }
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Query, Self::Ingest, Self::Lake];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Ingest => "ingest",
            Self::Lake => "lake",
        }
    }

    /// The roles with it alone among them.
    pub(crate) fn alone(self) -> Roles {
        match self {
            Self::Query => Roles::QUERY,
            Self::Ingest => Roles::INGEST,
            Self::Lake => Roles::LAKE,
        }
    }

    /// The role that a word stands for.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl Roles {
    const NONE: Self = Self {
        ingest: false,
        query: false,
        lake: false,
    };
    /// Every role.
    pub(crate) const ALL: Self = Self {
        ingest: true,
        query: true,
        lake: true,
    };
    /// Queries alone.
    pub(crate) const QUERY: Self = Self {
        query: true,
        ..Self::NONE
    };
    /// Ingestion alone.
    pub(crate) const INGEST: Self = Self {
        ingest: true,
        ..Self::NONE
    };
    /// Files alone.
    pub(crate) const LAKE: Self = Self {
        lake: true,
        ..Self::NONE
    };

    /// Whether a role is among them.
    pub(crate) fn has(self, role: Role) -> bool {
        match role {
            Role::Query => self.query,
            Role::Ingest => self.ingest,
            Role::Lake => self.lake,
        }
    }

    /// Those that are among them.
    pub(crate) fn each(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}
