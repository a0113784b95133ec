// SPDX-License-Identifier: Apache-2.0
#include "helper/seccomp_filter.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

namespace tapir::helper {
namespace {

// A call is allowed if all its conditions hold.
struct Rule {
  int syscall;
  std::vector<scmp_arg_cmp> conditions = {};
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp has_none_of(unsigned argument, std::uint64_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}

std::vector<Rule> allowed_calls() {
  return {
      // Memory, as malloc wants it.
      {SCMP_SYS(brk)},
      {SCMP_SYS(mmap), {has_none_of(2, PROT_EXEC)}},
      {SCMP_SYS(mremap)},
      {SCMP_SYS(munmap)},
      {SCMP_SYS(getrandom)},
      // The rules, accounts, /proc/self/status and /dev/net/tun, and what is printed.
      {SCMP_SYS(openat), {has_none_of(2, O_CREAT | O_TMPFILE | O_TRUNC | O_APPEND)}},
      {SCMP_SYS(read)},
      {SCMP_SYS(write)},
      {SCMP_SYS(fstat)},
      {SCMP_SYS(newfstatat)},
      {SCMP_SYS(close)},
      {SCMP_SYS(close_range)},
      // rtnetlink, the audit trail and the caller's socket.
      {SCMP_SYS(socket), {equals(0, AF_NETLINK), equals(2, NETLINK_ROUTE)}},
      {SCMP_SYS(socket), {equals(0, AF_UNIX)}},
      {SCMP_SYS(bind)},
      {SCMP_SYS(getsockname)},
      {SCMP_SYS(getsockopt)},
      {SCMP_SYS(sendto)},
      {SCMP_SYS(recvmsg)},
      {SCMP_SYS(sendmsg)},
      // Privileges, which can only become fewer.
      {SCMP_SYS(capget)},
      {SCMP_SYS(capset)},
      {SCMP_SYS(gettid)},
      {SCMP_SYS(getpid)},
      {SCMP_SYS(exit_group)},
  };
}

// Of the tap; TUNSETPERSIST and TUNSETGROUP are not among them.
constexpr unsigned long kTapRequests[] = {
    SIOCGIFHWADDR,      SIOCSIFHWADDR,    TUNGETFEATURES,  TUNGETIFF,      TUNSETIFF,       TUNSETOWNER,
    TUNSETSTEERINGEBPF, TUNSETFILTEREBPF, TUNDETACHFILTER, TUNSETTXFILTER, TUNSETVNETHDRSZ, TUNSETVNETLE,
    TUNSETVNETBE,       TUNSETSNDBUF,     TUNSETCARRIER,   TUNSETOFFLOAD,  TUNSETDEBUG,
};

struct Release {
  void operator()(void* context) const { ::seccomp_release(context); }
};

Status check(int code) {
  return code >= 0 ? Status{} : fail_errno("cannot install the system call filter", -code);
}

Status allow(scmp_filter_ctx filter, const Rule& rule) {
  return check(::seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule.syscall,
                                        static_cast<unsigned>(rule.conditions.size()),
                                        rule.conditions.data()));
}

}  // namespace

Status install_seccomp_filter() {
  const std::unique_ptr<void, Release> filter(::seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) {
    return check(-ENOMEM);
  }
  // Another architecture's system calls too, for which libseccomp would end the thread.
  TAPIR_TRY(check(::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)));
  for (const Rule& rule : allowed_calls()) {
    TAPIR_TRY(allow(filter.get(), rule));
  }
  for (const unsigned long request : kTapRequests) {
    TAPIR_TRY(allow(filter.get(), {SCMP_SYS(ioctl), {equals(1, request)}}));
  }
  return check(::seccomp_load(filter.get()));
}

}  // namespace tapir::helper
