import ConduitGateway
import ConduitHub

extension NodeConfiguration {
    static func compression(_ values: ConfigurationValues) -> CompressionConfiguration? {
        guard values.boolean("compression.enabled") else { return nil }
        var compression = CompressionConfiguration()
        compression.threshold = values.integer("compression.threshold")
        compression.level = values.integer("compression.level")
        compression.windowBits = values.integer("compression.window-bits")
        compression.maxRatio = values.integer("compression.max-ratio")
        return compression
    }

    static func findContradictionsOfEcho(in values: inout ConfigurationValues) {
        guard values.boolean("http.echo"), values.text("http.path") == GatewayConfiguration.echoPath else { return }
        values.contradiction(
            "http.echo", "http.path",
            message:
                "http.path \(ConfigurationKey.quoted(GatewayConfiguration.echoPath)) is where http.echo answers; change one"
        )
    }
}
