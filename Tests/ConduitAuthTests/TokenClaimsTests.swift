import Testing

@testable import ConduitAuth

struct TokenClaimsTests {
    @Test func aTokenNamesItsUser() { #expect(TokenClaims(sub: "anna").sub == "anna") }
}
