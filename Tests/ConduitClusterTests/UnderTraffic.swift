import Testing

/// Suites that keep a whole cluster busy: one after the other, since all bridges of the tests share few loops and would
/// starve each other.
@Suite(.serialized) enum UnderTraffic {}
