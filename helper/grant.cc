// SPDX-License-Identifier: Apache-2.0
#include "helper/grant.h"

#include <utility>
#include <variant>

#include "helper/acl.h"
#include "helper/acl_loader.h"
#include "helper/acl_report.h"
#include "helper/arguments.h"
#include "helper/audit.h"
#include "helper/bridge_port.h"
#include "helper/descriptors.h"
#include "helper/inherited_state.h"
#include "helper/privileges.h"
#include "helper/seccomp_filter.h"
#include "net/base/standard_descriptors.h"
#include "net/fd_passing.h"

namespace tapir::helper {
namespace {

constexpr const char* kRules = TAPIR_BRIDGE_CONF;

User user_of(const Credentials& credentials) {
  User user{credentials.real_uid(), credentials.groups};
  user.groups.push_back(credentials.real_gid());
  return user;
}

Result<Decision> decide_by_rules(const User& caller, const std::string& bridge) {
  UserDatabase accounts;
  TAPIR_TRY_ASSIGN(const Acl acl, load_acl(kRules, caller, accounts));
  Decision decision = decide(acl, caller, bridge);
  if (!decision.allowed) {
    return fail("access denied: uid " + std::to_string(caller.uid) + " may not use bridge '" + bridge +
                "', " + decision.reason);
  }
  return decision;
}

// Up to the record of the grant, which is made while only this process has the tap: once the caller has it,
// too, he may end the process.
Result<Port> make_granted_port(const GrantRequest& request, const User& caller, Privileges& privileges,
                               const AuditTrail& trail) {
  TAPIR_TRY(privileges.check_net_admin());
  TAPIR_TRY_ASSIGN(const Decision decision, decide_by_rules(caller, request.bridge));
  TAPIR_TRY_ASSIGN(Port port, make_port({request.bridge, caller.uid, request.queues, request.vnet_header,
                                         request.guest_mac, decision.policy}));
  TAPIR_TRY(privileges.drop());
  trail.write({true, caller.uid, request.bridge, port.tap, decision.reason});
  return port;
}

Status pass_on(const Port& port, uid_t owner, int receiver) {
  TAPIR_TRY(hand_over(port, owner));
  return net::send_fds(receiver, port.queues);
}

Status grant(const GrantRequest& request, Privileges& privileges) {
  TAPIR_TRY(close_all_but(request.fd));
  // Before anything is opened, which might get the number of a descriptor that is not there.
  const Status receiver = check_receiver(request.fd);
  TAPIR_TRY_ASSIGN(const AuditTrail trail, AuditTrail::open());
  const User caller = user_of(privileges.caller());
  const auto port = receiver ? make_granted_port(request, caller, privileges, trail)
                             : Result<Port>(tl::unexpected(receiver.error()));
  if (!port) {
    trail.write({false, caller.uid, request.bridge, {}, port.error().message()});
    return tl::unexpected(port.error());
  }
  Status passed = pass_on(*port, caller.uid, request.fd);
  if (!passed) {
    // The caller may have attached to it by now, so that it need not be gone.
    trail.write({true, caller.uid, request.bridge, port->tap, "not passed on: " + passed.error().message()});
  }
  return passed;
}

Result<Outcome> check(const CheckRequest& request, Privileges& privileges) {
  TAPIR_TRY(privileges.drop());
  if (const uid_t uid = privileges.caller().real_uid(); uid != 0) {
    return fail("--check is for root, who may read all the rules, and this is uid " + std::to_string(uid));
  }
  UserDatabase accounts;
  AclReport report = check_acl(kRules, request.user, accounts);
  return Outcome{std::move(report.text), std::move(report.mistakes)};
}

Result<Outcome> try_run(std::span<const char* const> words) {
  TAPIR_TRY(fill_standard_descriptors());
  TAPIR_TRY(reset_inherited_state());
  TAPIR_TRY_ASSIGN(Privileges privileges, Privileges::reduce());
#ifndef TAPIR_SANITIZED
  TAPIR_TRY(install_seccomp_filter());
#endif
  TAPIR_TRY_ASSIGN(const Arguments arguments, parse_arguments(words));
  if (std::holds_alternative<HelpRequest>(arguments)) {
    return Outcome{help_text(), {}};
  }
  if (std::holds_alternative<VersionRequest>(arguments)) {
    return Outcome{version_text(), {}};
  }
  if (const auto* request = std::get_if<CheckRequest>(&arguments)) {
    return check(*request, privileges);
  }
  TAPIR_TRY(grant(std::get<GrantRequest>(arguments), privileges));
  return Outcome{};
}

}  // namespace

Outcome run(std::span<const char* const> words) {
  auto outcome = try_run(words);
  return outcome ? *std::move(outcome) : Outcome{{}, {outcome.error().message()}};
}

}  // namespace tapir::helper
