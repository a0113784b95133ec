// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::helper {

/// What one call came to, for the system's audit trail. Borrows its texts.
struct AuditRecord {
  bool granted = false;
  uid_t uid = 0;            ///< who called
  std::string_view bridge;  ///< that was asked for
  std::string_view tap;     ///< empty when none was made
  std::string_view reason;  ///< the rule that decided, or what failed
};

/// The record as a datagram for the local syslog socket: "<86>tapir-bridge-helper[PID]: granted uid=1000
/// bridge=br0 tap=tap0 reason=\"…\"". Facility LOG_AUTHPRIV; a grant is LOG_INFO, a refusal LOG_NOTICE. There
/// is no time in it: the receiver has its own. Whatever the texts hold, it is one line of printable ASCII.
/// Pure. Source: RFC 3164 section 4.1, and section 4.3.3 for the missing time.
std::string audit_message(const AuditRecord& record, pid_t pid);

/// The way to the audit trail, opened before there is anything to record: a caller who takes this process's
/// means away later (prlimit(2)) cannot keep a grant out of it. One thread.
class AuditTrail {
 public:
  [[nodiscard]] static Result<AuditTrail> open();

  /// Sends the record to /dev/log, if somebody listens there and has room now. Never waits, never fails: a
  /// system without a log, or with one that hangs, still has bridges.
  void write(const AuditRecord& record) const;

 private:
  explicit AuditTrail(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace tapir::helper
