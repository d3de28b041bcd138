/// What one Prometheus time series family is called, what it means and of which kind it is.
public struct Metric: Hashable, Sendable {
    /// How a scraper reads the values.
    public enum Kind: String, Sendable {
        /// Only rises, until the process restarts.
        case counter
        /// Rises and falls.
        case gauge
        /// A distribution in buckets.
        case histogram
    }

    /// The name by Prometheus conventions: base units, `_total` for counters.
    public let name: String
    /// How its values behave.
    public let kind: Kind
    /// One sentence for the people who look at it.
    public let help: String
    /// The names of the labels that tell its values apart; none for most.
    public let labels: [String]

    package init(_ name: String, _ kind: Kind, _ help: String, labels: [String] = []) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
    }
}
