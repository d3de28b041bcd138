public import ConduitCore

// Names as literals, for the tests of this module.
extension RoomName: ExpressibleByStringLiteral {
    /// A room's name.
    public init(stringLiteral literal: StaticString) { self.init(literal: literal) }
}

extension UserID: ExpressibleByStringLiteral {
    /// A user's id.
    public init(stringLiteral literal: StaticString) { self.init(literal: literal) }
}
