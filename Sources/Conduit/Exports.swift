// Who imports Conduit sees the whole public API; the modules behind it are how the house is built.
@_exported public import ConduitAdmin
@_exported public import ConduitAuth
@_exported public import ConduitCore
@_exported public import ConduitGateway
@_exported public import ConduitHub
@_exported public import ConduitTelemetry
