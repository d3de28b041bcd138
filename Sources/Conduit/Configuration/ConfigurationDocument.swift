/// What the table of settings looks like as a sample file, as environment variables and as a page of documentation.
package enum ConfigurationDocument {
    /// An annotated YAML file that sets every setting to its default.
    package static var yaml: String {
        var text = heading
        text += "# Flags of the command win over environment variables, those over this file.\n"
        var open: [String] = []
        for key in ConfigurationKey.plain {
            let groups = Array(key.components.dropLast())
            let common = zip(open, groups).prefix { $0 == $1 }.count
            if common < groups.count {
                for depth in common..<groups.count {
                    text += depth == 0 ? "\n" : ""
                    text += note(on: groups[...depth].joined(separator: "."), indent: indent(depth))
                    text += indent(depth) + groups[depth] + ":\n"
                }
            }
            open = groups
            text += indent(groups.count) + "# " + key.summary + "\n"
            text += indent(groups.count) + "# Allowed: " + key.allowed + "." + reloads(key) + "\n"
            text += indent(groups.count) + (key.components.last ?? "") + ": " + yamlValue(key) + "\n"
        }
        return text
    }

    /// A file of variables, as systemd and containers read it.
    package static var environment: String {
        var text = heading
        for key in ConfigurationKey.plain {
            text += "\n# \(key.summary)\n# Allowed: \(key.allowed).\(reloads(key))\n"
            text += key.environmentName + "=" + (key.defaultText == "[]" ? "" : key.defaultText) + "\n"
        }
        return text
    }

    /// The tables of Docs/configuration.md.
    package static var markdown: String {
        var text = """
            # Configuration

            Flags of the command win over environment variables, those over the configuration file, that over the
            defaults. `conduit config` prints this as a file to start from, `conduit check-config` checks a
            configuration and lists everything that is wrong with it at once (exit code 78). The file is YAML or JSON,
            by its extension; a list is a list there and has commas in variables. `CONDUIT_CONFIG` names the file where
            `--config` doesn't. Durations need a unit: `ms`, `s`, `m` or `h`. Secrets are never printed.

            A running node takes over settings with **yes** under *reload* on SIGHUP; what of the others has changed it names
            in its log ([operations.md](operations.md#reload)).

            This page is written by `conduit config --format markdown`.

            """
        var group = ""
        for key in ConfigurationKey.all {
            let own = key.components.first ?? ""
            if own != group {
                group = own
                text += "\n## \(group)\n\n"
                if let note = ConfigurationKey.notes[group] { text += wrapped(note, width: 118) + "\n\n" }
                text += "| key | environment | default | allowed | reload | what it does |\n|---|---|---|---|---|---|\n"
            }
            let value = key.defaultText.isEmpty ? "empty" : "`\(key.defaultText)`"
            let secret = key.isSecret ? " Secret." : ""
            text +=
                "| `\(key.name)` | `\(key.environmentName)` | \(value) | \(cell(key.allowed)) | \(key.isReloadable ? "yes" : "") | "
            text += "\(cell(key.summary))\(secret) |\n"
        }
        return text
    }

    private static let heading =
        "# Settings of a Conduit node; every value here is the default.\n"
        + "# Those marked (reload) are taken over by a running node on SIGHUP.\n"

    private static func reloads(_ key: ConfigurationKey) -> String { key.isReloadable ? " (reload)" : "" }

    private static func note(on group: String, indent: String) -> String {
        guard let note = ConfigurationKey.notes[group] else { return "" }
        return wrapped(note, width: 116).split(separator: "\n").map { indent + "# " + $0 + "\n" }.joined()
    }

    /// Broken into lines of at most `width` characters.
    private static func wrapped(_ text: String, width: Int) -> String {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.last, last.count + word.count < width {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func indent(_ depth: Int) -> String { String(repeating: "  ", count: depth) }

    private static func yamlValue(_ key: ConfigurationKey) -> String {
        switch key.kind {
        case .integer, .boolean: key.defaultText
        case .list where key.defaultText == "[]": key.defaultText
        case .list: "[" + key.defaultText.split(separator: ",").map { "\"\($0)\"" }.joined(separator: ", ") + "]"
        case .duration, .choice, .text: "\"" + key.defaultText + "\""
        }
    }

    private static func cell(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
            .split(separator: "*", omittingEmptySubsequences: false).joined(separator: "\\*")
    }
}
