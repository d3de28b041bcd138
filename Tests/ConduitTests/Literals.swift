public import ConduitCore

// Names as literals, for the tests of this module.
extension RoomName: ExpressibleByStringLiteral {
    public init(stringLiteral literal: StaticString) { self.init(literal: literal) }
}

extension UserID: ExpressibleByStringLiteral {
    public init(stringLiteral literal: StaticString) { self.init(literal: literal) }
}
