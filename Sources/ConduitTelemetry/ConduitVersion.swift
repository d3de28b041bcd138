/// The version of this build, in one place.
public enum ConduitVersion {
    /// By semantic versioning.
    public static let current = "0.1.0"
}
