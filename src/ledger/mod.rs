//! Our own durable record: passes and their journal, the state of every day, leases, marks, approvals.
