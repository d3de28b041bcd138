import ConduitCore
import ConduitWire
import NIOCore

/// What was asked of the application on a client's behalf and is not answered yet.
struct PendingQuestion {
    enum Purpose {
        /// The request is carried out when the answer is yes.
        case join(JoinRoomRequest, observes: Bool, RequestID?)
        /// The message is looked at again when there is an answer.
        case publish(RoomName, ByteBuffer)
        /// A new token was brought.
        case refresh(RequestID?)
    }

    let client: ClientID
    /// Since when (monotonic, ms).
    let since: Int64
    let purpose: Purpose
    let task: Task<Void, Never>
}

/// Questions to somebody else: ``HubHooks/authorize`` and ``HubHooks/refresh``.
///
/// A client has one question about a right open at most: it is held meanwhile, so its requests keep their order and what
/// it sends waits in its socket. Beside it, one new token may be looked at, for which nothing waits.
extension Shard {
    /// An answer is waited for so long, in milliseconds.
    private static let questionPatience: Int64 = 10_000

    func nextQuestion() -> UInt64 {
        questionNumber += 1
        return questionNumber
    }

    /// Whether somebody must be asked before a client is let into a room: not where it is or belongs already.
    func mustAsk(_ room: RoomName, _ client: Client) -> Bool {
        !(client.grants?.isOwn(room) ?? false) && !rooms.contains(client.slot, in: room)
    }

    func ask(
        _ action: AuthorizationQuestion.Action, _ room: RoomName, _ client: Client, for purpose: PendingQuestion.Purpose
    ) {
        guard let authorize = hooks.authorize else { return }
        let number = nextQuestion()
        let question = AuthorizationQuestion(action, room: room, client: client.id, user: client.identity.user)
        let home = neighbours[index]
        let task = Task {
            // Nobody could tell.
            let answer = try? await authorize(question)
            home.execute { $0.authorized(number, answer) }
        }
        client.question = number
        client.holds += 1
        stopReading(client)
        questions[number] = PendingQuestion(client: client.id, since: now, purpose: purpose, task: task)
    }

    /// Somebody has answered, or not (`nil`): the request that waits goes on.
    private func authorized(_ number: UInt64, _ answer: Bool?) {
        guard let question = questions.removeValue(forKey: number), let client = client(question.client) else { return }
        client.question = 0
        client.holds -= 1
        defer { startReading(client) }
        guard client.isOpen else {
            // It was told to go meanwhile: what it had published before goes its way.
            guard case .publish(let room, let message) = question.purpose else { return }
            guard let answer else { return drop("after_close") }
            client.grants?.answered(answer, for: room, now: now)
            beginTurn()
            return publishLate(message.readableBytesUInt8Span, client)
        }
        beginTurn()
        switch question.purpose {
        case .join(let request, let observes, let id):
            do throws(RequestError) {
                switch answer {
                case true?: try joinRoom(request, client, observes: observes, id)
                case false?: throw Self.denied("joining this room is not allowed")
                case nil: throw Self.nobodyTold
                }
            } catch {
                self.answer(error, to: client, id: id, type: CommandKind.joinRoom.rawValue)
            }
        case .publish(let room, let message):
            let bytes = message.readableBytesUInt8Span
            if let answer {
                client.grants?.answered(answer, for: room, now: now)
                handle(bytes, from: client)
            } else if let command = try? CommandDecoder.decode(bytes) {
                let type = command.type(in: bytes)
                self.answer(Self.nobodyTold, to: client, id: command.id(in: bytes), type: type)
            }
        case .refresh: break
        }
    }

    private static let nobodyTold = RequestError(.unavailable, "nobody could tell whether this is allowed")

    /// The client is gone: nobody waits for answers about it.
    func abandonQuestions(of client: Client) {
        for number in [client.question, client.refreshing] where number != 0 {
            questions.removeValue(forKey: number)?.task.cancel()
        }
        (client.question, client.refreshing) = (0, 0)
    }

    /// Goes on without those who don't answer.
    func sweepQuestions(_ now: Int64) {
        guard !questions.isEmpty else { return }
        for (number, question) in questions where now - question.since >= Self.questionPatience {
            question.task.cancel()
            // Answered, and only waiting for a join.
            if case .refresh = question.purpose, let client = client(question.client), client.holds > 0 { continue }
            if case .refresh = question.purpose {
                refreshed(number, .failure(RequestError(.unavailable, "nobody could tell whether the token is good")))
            } else {
                authorized(number, nil)
            }
        }
    }
}
