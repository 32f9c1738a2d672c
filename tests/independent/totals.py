#!/usr/bin/env python3
"""Figures of a recorded chain, worked out without Cairn's code, to compare Cairn's with.

    totals.py BLOCKS [RECEIPTS] [--addresses] [--tokens]
    totals.py --sessions RECORDING

BLOCKS     lines of `eth_getBlockByNumber(n, true)` results, one chain, ascending
RECEIPTS   lines of `{number, hash, receipts}`, one for every block
RECORDING  lines of `{request, response}` of a client that polled a node
Files are plain, .gz or .zst (needs the `zstd` program). Answers JSON on stdout.
Exit: 0, 1 the input contradicts itself (see `problems`), 2 it cannot be read.

Ledger. A transaction, successful or not, charges its sender `gasUsed * effectiveGasPrice`, and
`blobGasUsed * blobGasPrice` if it is of type 3. Its value moves to its recipient unless it failed.
The recipient is `to`, or without one the receipt's `contractAddress`; where neither is known
(a creation without receipt) nothing moves. The miner gets `gasUsed * (effectiveGasPrice -
baseFeePerGas)`, the whole fee in a block without base fee. A withdrawal credits `amount` gwei.
Without receipts there are no fees and every value moves. No block rewards, no genesis allocation,
no transfers inside contracts: balances may be negative.

Account lines, for every address that was sender or recipient or whose balance is not 0:
    address|balance|sent|received|nonce|first_seen|last_seen
sent and received count transactions, one to itself in both; nonce is that of the last one sent
plus 1, else 0; first_seen and last_seen are block timestamps (seconds) as sender or recipient,
empty for an address that was neither.

Token balance lines, without balances of 0 and without the zero address as holder:
    contract|standard|holder|token_id|balance
standard is ERC-20 (Transfer, 3 topics, 32 bytes of data; token_id 0), ERC-721 (Transfer, 4 topics)
or ERC-1155 (TransferSingle, TransferBatch: every id of a batch is a transfer). Amounts are exact
integers, nothing wraps, negatives are shown.

Addresses are lower case with 0x, numbers decimal. A digest is the SHA-256, in hex, of the lines
sorted by bytes, each followed by a line feed.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
from collections import defaultdict

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
TRANSFER_SINGLE = "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62"
TRANSFER_BATCH = "0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb"
ZERO = "0x" + "0" * 40
DAY = 24 * 60 * 60


def quantity(value):
    """A JSON-RPC quantity; 0 where it is absent."""
    return int(value, 16) if isinstance(value, str) else value or 0


def rows(path):
    """The JSON values of a file, one a line."""
    if path.endswith(".zst"):
        with subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE) as process:
            yield from map(json.loads, process.stdout)
        if process.returncode != 0:
            raise OSError(f"{path}: zstd ended with {process.returncode}")
        return
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        yield from map(json.loads, file)


def digest(lines):
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


class Account:
    def __init__(self):
        self.balance = self.sent = self.received = self.nonce = 0
        self.first_seen = self.last_seen = None

    def see(self, timestamp):
        if self.first_seen is None:
            self.first_seen = timestamp
        self.last_seen = timestamp

    def line(self, address):
        seen = ["" if at is None else at for at in (self.first_seen, self.last_seen)]
        fields = [address, self.balance, self.sent, self.received, self.nonce, *seen]
        return "|".join(map(str, fields))


class Ledger:
    """Accounts of the chain's own currency."""

    def __init__(self):
        self.accounts = defaultdict(Account)
        self.fees = self.burnt = self.moved = self.withdrawn = 0

    def transact(self, block, transaction, receipt):
        timestamp = quantity(block["timestamp"])
        sender = self.accounts[transaction["from"].lower()]
        sender.sent += 1
        sender.nonce = quantity(transaction["nonce"]) + 1
        sender.see(timestamp)
        if receipt:
            self.charge(sender, block, transaction, receipt)
        to = transaction.get("to") or (receipt or {}).get("contractAddress")
        if to is None:
            return
        recipient = self.accounts[to.lower()]
        recipient.received += 1
        recipient.see(timestamp)
        if receipt is None or succeeded(receipt):
            sender.balance -= quantity(transaction["value"])
            recipient.balance += quantity(transaction["value"])
            self.moved += quantity(transaction["value"])

    def charge(self, sender, block, transaction, receipt):
        gas = quantity(receipt["gasUsed"])
        price = quantity(receipt.get("effectiveGasPrice", transaction.get("gasPrice")))
        burnt = gas * quantity(block.get("baseFeePerGas"))
        tip = gas * price - burnt
        if quantity(transaction.get("type")) == 3:
            burnt += quantity(receipt["blobGasUsed"]) * quantity(receipt["blobGasPrice"])
        sender.balance -= burnt + tip
        self.accounts[block["miner"].lower()].balance += tip
        self.fees += burnt + tip
        self.burnt += burnt

    def withdraw(self, withdrawal):
        amount = quantity(withdrawal["amount"]) * 10**9
        self.accounts[withdrawal["address"].lower()].balance += amount
        self.withdrawn += amount

    def lines(self):
        kept = {a: x for a, x in self.accounts.items() if x.balance or x.first_seen is not None}
        return sorted(account.line(address) for address, account in kept.items())


def succeeded(receipt):
    """Receipts from before Byzantium carry a root in place of a status."""
    return quantity(receipt.get("status", "0x1")) == 1


def words(data, index):
    """The `uint256[]` whose offset is word `index` of the data; None if it is not all there."""
    offset = int.from_bytes(data[32 * index : 32 * index + 32], "big")
    length = int.from_bytes(data[offset : offset + 32], "big")
    array = data[offset + 32 : offset + 32 + 32 * length]
    if len(data) < 32 * index + 32 or len(data) < offset + 32 + 32 * length:
        return None
    return [int.from_bytes(array[at : at + 32], "big") for at in range(0, len(array), 32)]


def transfers(log):
    """What a log says was transferred: (standard, from, to, token_id, amount) each."""
    topics, data = log["topics"], bytes.fromhex(log["data"][2:])
    kind = topics[0] if topics else None
    addresses = ["0x" + topic[-40:].lower() for topic in topics]
    if kind == TRANSFER and len(topics) == 3 and len(data) == 32:
        return [("ERC-20", *addresses[1:], 0, int.from_bytes(data, "big"))]
    if kind == TRANSFER and len(topics) == 4:
        return [("ERC-721", *addresses[1:3], int(topics[3], 16), 1)]
    holders = addresses[2:]
    if kind == TRANSFER_SINGLE and len(topics) == 4 and len(data) >= 64:
        token_id, amount = (int.from_bytes(data[at : at + 32], "big") for at in (0, 32))
        return [("ERC-1155", *holders, token_id, amount)]
    if kind == TRANSFER_BATCH and len(topics) == 4:
        ids, amounts = words(data, 0), words(data, 1)
        if ids is not None and amounts is not None and len(ids) == len(amounts):
            return [("ERC-1155", *holders, *pair) for pair in zip(ids, amounts)]
    return []


class Tokens:
    """Balances that the transfers in logs add up to."""

    def __init__(self):
        self.balances = defaultdict(int)
        self.counts = {"ERC-20": 0, "ERC-721": 0, "ERC-1155": 0}
        self.standards = defaultdict(set)
        self.malformed = 0

    def read(self, log):
        contract, found = log["address"].lower(), transfers(log)
        if not found and log["topics"][:1] in ([TRANSFER], [TRANSFER_SINGLE], [TRANSFER_BATCH]):
            self.malformed += 1
        for standard, giver, taker, token_id, amount in found:
            self.counts[standard] += 1
            self.standards[contract].add(standard)
            self.balances[contract, standard, giver, token_id] -= amount
            self.balances[contract, standard, taker, token_id] += amount

    def lines(self):
        kept = ((key, n) for key, n in self.balances.items() if n and key[2] != ZERO)
        return sorted("|".join(map(str, (*key, n))) for key, n in kept)


class Chain:
    """All figures of one chain, block by block."""

    def __init__(self):
        self.blocks, self.hashes = [], set()
        self.transactions = self.logs = self.failed = self.gas = self.gaps = 0
        self.ledger, self.tokens, self.problems = Ledger(), Tokens(), []

    def append(self, block, receipts):
        self.link(block)
        if receipts is not None:
            receipts = {receipt["transactionHash"]: receipt for receipt in receipts}
            self.check(block, receipts)
        for transaction in block["transactions"]:
            self.transactions += 1
            self.hashes.add(transaction["hash"])
            receipt = receipts[transaction["hash"]] if receipts is not None else None
            self.ledger.transact(block, transaction, receipt)
            if receipt:
                self.failed += not succeeded(receipt)
                self.logs += len(receipt["logs"])
                for log in receipt["logs"]:
                    self.tokens.read(log)
        for withdrawal in block.get("withdrawals") or []:
            self.ledger.withdraw(withdrawal)

    def link(self, block):
        height = quantity(block["number"])
        if self.blocks:
            last, last_hash, _ = self.blocks[-1]
            if height <= last:
                self.problems.append(f"block {height} comes after block {last}")
            elif height > last + 1:
                self.gaps += 1
            elif block["parentHash"] != last_hash:
                self.problems.append(f"block {height} is not a child of the block before it")
        self.blocks.append((height, block["hash"], quantity(block["timestamp"])))
        self.gas += quantity(block["gasUsed"])

    def check(self, block, receipts):
        height = quantity(block["number"])
        if {transaction["hash"] for transaction in block["transactions"]} != set(receipts):
            raise ValueError(f"block {height}: its receipts are of other transactions")
        if sum(quantity(receipt["gasUsed"]) for receipt in receipts.values()) != quantity(block["gasUsed"]):
            self.problems.append(f"block {height}: gas of its receipts does not add up to its own")

    def end(self, index):
        return dict(zip(("height", "hash"), self.blocks[index]))

    def network(self):
        now = self.blocks[-1][2]
        seen = [account.last_seen for account in self.ledger.accounts.values() if account.last_seen is not None]
        times = [at for height, _, at in self.blocks if height > 0][-101:]
        return {
            "value_moved": str(self.ledger.moved), "withdrawals": str(self.ledger.withdrawn),
            "fees": str(self.ledger.fees), "fees_burnt": str(self.ledger.burnt),
            "addresses_seen": len(seen),
            "active_addresses_24h": sum(at > now - DAY for at in seen),
            "block_time": {"seconds": times[-1] - times[0], "intervals": len(times) - 1} if times else None,
        }

    def figures(self):
        if not self.blocks:
            raise ValueError("there is no block in the file")
        if len(self.hashes) != self.transactions:
            self.problems.append("a transaction is in the chain twice")
        total = sum(account.balance for account in self.ledger.accounts.values())
        if total != self.ledger.withdrawn - self.ledger.burnt:
            self.problems.append("balances do not add up to withdrawals less what was burnt")
        accounts, tokens = self.ledger.lines(), self.tokens.lines()
        return {
            "blocks": len(self.blocks), "gaps": self.gaps, "first": self.end(0), "last": self.end(-1),
            "transactions": self.transactions, "failed_transactions": self.failed,
            "logs": self.logs, "gas_used": self.gas,
            "network": self.network(),
            "accounts": len(accounts), "accounts_sha256": digest(accounts),
            "negative_balances": sum(account.balance < 0 for account in self.ledger.accounts.values()),
            "token_transfers": self.tokens.counts,
            "token_balances": len(tokens), "token_balances_sha256": digest(tokens),
            "negative_token_balances": sum("|-" in line for line in tokens),
            "token_contracts": len(self.tokens.standards),
            "token_contracts_of_several_standards": sum(len(s) > 1 for s in self.tokens.standards.values()),
            "malformed_token_logs": self.tokens.malformed,
            "problems": self.problems,
        }


class Receipts:
    """Receipts by block hash; files in the order of the blocks are read as they are needed."""

    def __init__(self, path):
        self.rows, self.waiting = rows(path), {}

    def of(self, block):
        while block["hash"] not in self.waiting:
            row = next(self.rows, None)
            if row is None:
                raise ValueError(f"block {quantity(block['number'])} has no line in the receipts file")
            self.waiting[row["hash"]] = row["receipts"]
        return self.waiting.pop(block["hash"])


def read_chain(args):
    chain, receipts = Chain(), Receipts(args.receipts) if args.receipts else None
    for block in rows(args.blocks):
        chain.append(block, receipts.of(block) if receipts else None)
    accounts = {"account_lines": chain.ledger.lines()} if args.addresses else {}
    tokens = {"token_balance_lines": chain.tokens.lines()} if args.tokens else {}
    return {**chain.figures(), **accounts, **tokens}


class Session:
    """A recording: every block it shows, by hash, and what its client took for the head."""

    def __init__(self):
        self.blocks, self.head, self.reorgs = {}, None, []
        self.calls = self.nulls = self.errors = self.late = 0

    def branch(self, hash):
        """Hashes from the block `hash` down to where its ancestors are not recorded."""
        found = []
        while hash in self.blocks:
            found.append(hash)
            hash = self.blocks[hash]["parentHash"]
        return found

    def height(self, hash):
        return quantity(self.blocks[hash]["number"])

    def follow(self, hash):
        """Takes a block returned as head; one that is on the branch already is only a late answer."""
        before = self.branch(self.head) if self.head else []
        if hash in before:
            self.late += hash != self.head
        elif not before or self.blocks[hash]["parentHash"] in self.blocks:
            shared = next((h for h in self.branch(hash) if h in before), None)
            if before and shared != self.head:
                fork = self.height(shared) if shared else None
                self.reorgs.append({"fork": fork, "from": self.head, "to": hash,
                                    "depth": before.index(shared) if shared else len(before)})
            self.head = hash

    def figures(self):
        if self.head is None:
            raise ValueError("the recording shows no block")
        branch = self.branch(self.head)[::-1]
        chain = Chain()
        for hash in branch:
            chain.append(self.blocks[hash], None)
        others = sorted((self.height(h), h) for h in self.blocks if h not in set(branch))
        lowest = self.height(branch[0])
        figures = chain.figures()
        return {
            "calls": self.calls, "null_answers": self.nulls, "errors": self.errors,
            "recorded_blocks": len(self.blocks), "late_answers": self.late,
            "reorgs": self.reorgs,
            "orphaned": [{"height": n, "hash": h} for n, h in others if n >= lowest],
            "below_the_canonical": [{"height": n, "hash": h} for n, h in others if n < lowest],
            "canonical": {self.height(h): h for h in branch},
            **{key: figures[key] for key in ("blocks", "transactions", "gas_used", "first", "last",
                                             "accounts", "accounts_sha256", "problems")},
        }


def read_session(path):
    """Heads are the blocks asked for by number, once all that the recording ever shows is known:
    a client asks for a missing parent only after it got the head."""
    session, heads = Session(), []
    for row in rows(path):
        result, method = row["response"].get("result"), row["request"]["method"]
        session.calls += 1
        session.errors += "error" in row["response"]
        session.nulls += result is None and "error" not in row["response"]
        if method in ("eth_getBlockByNumber", "eth_getBlockByHash") and result:
            session.blocks[result["hash"]] = result
            if method == "eth_getBlockByNumber":
                heads.append(result["hash"])
    for hash in heads:
        session.follow(hash)
    return session.figures()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blocks", nargs="?")
    parser.add_argument("receipts", nargs="?")
    parser.add_argument("--addresses", action="store_true", help="print the account lines, too")
    parser.add_argument("--tokens", action="store_true", help="print the token balance lines, too")
    parser.add_argument("--sessions", metavar="RECORDING")
    args = parser.parse_args()
    if (args.blocks is None) == (args.sessions is None):
        parser.error("give either BLOCKS or --sessions RECORDING")
    try:
        figures = read_session(args.sessions) if args.sessions else read_chain(args)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"totals: {args.sessions or args.blocks}: {error!r}", file=sys.stderr)
        return 2
    json.dump(figures, sys.stdout, indent=1)
    print()
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
