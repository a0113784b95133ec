// SPDX-License-Identifier: Apache-2.0
#include "helper/audit.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <cstddef>

#include "net/base/printable.h"

namespace tapir::helper {
namespace {

constexpr std::string_view kLogSocket = "/dev/log";
// A whole record stays below 1024 bytes, which every receiver takes (RFC 3164 section 4.1): a byte may become
// four.
constexpr std::size_t kMaxReasonBytes = 200;
constexpr std::size_t kMaxNameBytes = 15;

// Between quotes, none of its own, so that no text can look like another field.
std::string quoted(std::string_view text, std::size_t most_bytes) {
  std::string line = "\"";
  for (const char c : printable(text, most_bytes)) {
    line += c == '"' ? '\'' : c;
  }
  return line + '"';
}

}  // namespace

std::string audit_message(const AuditRecord& record, pid_t pid) {
  const int priority = LOG_AUTHPRIV | (record.granted ? LOG_INFO : LOG_NOTICE);
  std::string message =
      "<" + std::to_string(priority) + ">tapir-bridge-helper[" + std::to_string(pid) + "]: ";
  message.append(record.granted ? "granted" : "refused").append(" uid=").append(std::to_string(record.uid));
  message.append(" bridge=").append(printable(record.bridge, kMaxNameBytes));
  if (!record.tap.empty()) {
    message.append(" tap=").append(printable(record.tap, kMaxNameBytes));
  }
  return message.append(" reason=").append(quoted(record.reason, kMaxReasonBytes));
}

Result<AuditTrail> AuditTrail::open() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno("cannot open a socket for the audit trail");
  }
  return AuditTrail(std::move(socket));
}

void AuditTrail::write(const AuditRecord& record) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  kLogSocket.copy(address.sun_path, sizeof address.sun_path - 1);
  const std::string message = audit_message(record, ::getpid());
  [[maybe_unused]] const auto sent =
      ::sendto(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

}  // namespace tapir::helper
