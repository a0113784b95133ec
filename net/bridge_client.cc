// SPDX-License-Identifier: Apache-2.0
#include "net/bridge_client.h"

#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"
#include "net/base/printable.h"
#include "net/command_runner.h"
#include "net/fd_passing.h"
#include "net/helper_privileges.h"

namespace tapir::net {
namespace {

using Clock = ChildProcess::Clock;

// The socket's number in a helper that gets it beside the standard descriptors: the first of those kept.
constexpr int kHelperSocket = STDERR_FILENO + 1;

// A helper that did something wrong may still say why, and how it ends may tell more.
constexpr std::chrono::milliseconds kLastWords{200};

constexpr std::size_t kShownBytes = 512;  // of a name or command in a message

constexpr std::string_view kBridgeOption = "--br=";
constexpr std::string_view kVersionLine = "\ntapir-bridge-helper ";

// How the helper is run: its program and first arguments, and where it finds the socket.
struct Launch {
  std::vector<std::string> words;
  bool socket_is_input = false;
  bool program_is_helper = true;                           // and not, as sudo is, what starts it
  std::optional<std::string> named_bridge = std::nullopt;  // by a --br= among the words of a command
};

// QEMU's rule for which helper strings are a path and which a command.
bool is_command(std::string_view helper) {
  return helper.find_first_of(" \t") != std::string_view::npos;
}

// The last counts, as for every option.
std::optional<std::string> bridge_among(const std::vector<std::string>& words) {
  const auto found = std::find_if(words.rbegin(), words.rend(),
                                  [](const std::string& word) { return word.starts_with(kBridgeOption); });
  return found == words.rend() ? std::nullopt : std::optional(found->substr(kBridgeOption.size()));
}

Result<Launch> plan_launch(const BridgeRequest& request) {
  if (!request.helper) {
    return Launch{{request.default_helper}};
  }
  const std::string& helper = *request.helper;
  if (helper.empty()) {
    return fail("helper= is empty; give the path of a bridge helper, or leave it out", EINVAL);
  }
  if (is_command(helper)) {
    TAPIR_TRY_ASSIGN(std::vector<std::string> words, split_command(helper));
    std::optional<std::string> bridge = bridge_among(words);
    const bool only_options = std::all_of(words.begin() + 1, words.end(),
                                          [](const std::string& word) { return word.starts_with("--"); });
    return Launch{std::move(words), true, only_options, std::move(bridge)};
  }
  // A path even without a slash, as with QEMU: only the program of a command is searched for in PATH.
  return Launch{{helper.find('/') == std::string::npos ? "./" + helper : helper}};
}

// The helper that comes with QEMU, if it is installed.
std::optional<std::string> helper_of_qemu() {
  for (const char* path : {"/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"}) {
    if (::access(path, X_OK) == 0) {
      return path;
    }
  }
  return std::nullopt;
}

// Why execve(2) refused the helper.
Error explain_start(const std::string& program, int code) {
  const std::string name = printable(program, kShownBytes);
  const bool is_path = program.find('/') != std::string::npos;
  if (code == ENOENT && is_path && ::access(program.c_str(), F_OK) == 0) {
    return Error(fmt::format("the interpreter of bridge helper '{}' (its first line) does not exist", name),
                 code);
  }
  if (code == ENOENT && is_path) {
    const auto other = helper_of_qemu();
    return Error(fmt::format("the bridge helper '{}' does not exist; install tapir's with "
                             "tools/install-helper as root{}",
                             name, other ? ", or give helper=" + *other : ""),
                 code);
  }
  if (!is_path && (code == ENOENT || code == EACCES)) {
    return Error(
        fmt::format("the bridge helper's program '{}' is in no directory of PATH that uid {} may run "
                    "it from; give its whole path",
                    name, ::geteuid()),
        code);
  }
  if (code == EACCES) {
    return Error(fmt::format("uid {} may not run the bridge helper '{}'; make it executable (chmod +x), and "
                             "see that its file system is not mounted with noexec",
                             ::geteuid(), name),
                 code);
  }
  if (code == EPERM) {
    // What the kernel answers for a file with a capability that the bounding set lacks.
    if (auto cause = explain_privileges(look_at_privileges(program), program)) {
      return Error(fmt::format("the bridge helper '{}' cannot be started: {}", name, *cause), code);
    }
  }
  return fail_errno(fmt::format("the bridge helper '{}' cannot be started", name), code).value();
}

Result<ChildProcess> start(const std::vector<std::string>& words, const ChildDescriptors& descriptors) {
  auto child = ChildProcess::start(words, descriptors);
  if (!child) {
    return tl::unexpected(explain_start(words[0], child.error().code()));
  }
  return child;
}

// Whether the helper is tapir's own, which may have to be asked for.
Result<bool> is_helper_of_tapir(const Launch& launch, const BridgeRequest& request,
                                Clock::time_point deadline) {
  if (!request.helper || *request.helper == request.default_helper) {
    return true;
  }
  if (!request.mac && request.queues == 1) {
    return false;  // it makes no difference
  }
  std::vector<std::string> words = launch.words;
  words.emplace_back("--version");
  TAPIR_TRY_ASSIGN(ChildProcess child, start(words, {.capture_output = true}));
  if (!child.wait(deadline)) {
    log(LogLevel::kWarning,
        fmt::format("the bridge helper '{}' did not say in time who it is (--version), and is "
                    "taken for one that is not tapir's",
                    printable(*request.helper, kShownBytes)));
  }
  const std::string text = "\n" + child.output();
  if (text.find(kVersionLine) != std::string::npos) {
    return true;
  }
  if (request.queues > 1) {
    return fail(
        fmt::format("queues={}: the bridge helper '{}' is not tapir's (its --version does not say so) "
                    "and makes one queue only; leave helper= out, or queues=",
                    request.queues, printable(*request.helper, kShownBytes)),
        EINVAL);
  }
  return false;
}

std::vector<std::string> helper_words(const Launch& launch, const BridgeRequest& request, bool is_of_tapir) {
  std::vector<std::string> words = launch.words;
  if (request.vnet_header) {
    words.emplace_back("--use-vnet");
  }
  words.push_back(fmt::format("--fd={}", launch.socket_is_input ? STDIN_FILENO : kHelperSocket));
  if (!launch.named_bridge) {
    words.push_back(fmt::format("{}{}", kBridgeOption, request.bridge));
  }
  if (is_of_tapir && request.queues > 1) {
    words.push_back(fmt::format("--queues={}", request.queues));
  }
  if (is_of_tapir && request.mac) {
    words.push_back("--mac=" + request.mac->to_string());
  }
  return words;
}

// One run of a helper: what it sends, how it ends, and the sentence when that is not what it should be.
class HelperRun {
 public:
  HelperRun(const BridgeRequest& request, const Launch& launch, ChildProcess child, UniqueFd socket,
            Clock::time_point deadline)
      : request_(request),
        program_(launch.words[0]),
        program_is_helper_(launch.program_is_helper),
        bridge_(launch.named_bridge.value_or(request.bridge)),
        child_(std::move(child)),
        socket_(std::move(socket)),
        deadline_(deadline) {}

  Result<std::vector<UniqueFd>> finish() && {
    TAPIR_TRY(receive());
    const ExitStatus status = child_.wait(deadline_).value();  // it has ended
    if (!status.success()) {
      return failed(status.to_string(), missing_privilege());
    }
    if (taps_.size() != request_.queues) {
      return failed(taps_.empty() ? "exited with status 0 but sent no tap"
                                  : fmt::format("sent {} of {} queues", taps_.size(), request_.queues));
    }
    if (!child_.errors().empty()) {
      log(LogLevel::kWarning,
          fmt::format("bridge helper '{}': {}", printable(program_, kShownBytes), one_line(child_.errors())));
    }
    return std::move(taps_);
  }

 private:
  // Why the helper lacks its privilege, if that can be what failed: it says nothing else. The file of a
  // program that starts the helper, such as sudo, tells nothing of it.
  std::optional<std::string> missing_privilege() {
    const std::string& words = child_.errors();
    const bool may_be = words.empty() || words.find("not permitted") != std::string::npos ||
                        words.find("CAP_NET_ADMIN") != std::string::npos ||
                        words.find("privileges") != std::string::npos;
    const std::string file = program_is_helper_ ? program_ : "";
    return may_be ? explain_privileges(look_at_privileges(file), program_) : std::nullopt;
  }

  // All that comes until the helper has ended, which is when nothing more can come.
  Status receive() {
    for (;;) {
      switch (child_.wait_for(socket_.get(), deadline_)) {
        case ChildProcess::Wake::kReadable:
          TAPIR_TRY(receive_message());
          break;
        case ChildProcess::Wake::kEnded:
          return {};
        case ChildProcess::Wake::kDeadline:
          return failed(fmt::format("{} in {:g} s and was stopped",
                                    taps_.empty() ? "sent no tap" : "sent a tap but did not end",
                                    std::chrono::duration<double>(request_.limit).count()));
      }
    }
  }

  Status receive_message() {
    auto message = receive_fds(socket_.get());
    if (!message) {
      return failed(fmt::format("sent what cannot be taken ({})", message.error().message()));
    }
    if (message->data_bytes == 0) {
      socket_.reset();
      return {};
    }
    if (message->fds.empty()) {
      return failed("sent data without a tap");
    }
    if (message->data_bytes != 1) {
      return failed(fmt::format("sent a descriptor with {} bytes instead of one", message->data_bytes));
    }
    for (UniqueFd& fd : message->fds) {
      if (taps_.size() == request_.queues) {
        return failed(fmt::format("sent more descriptors than the {} asked for", request_.queues));
      }
      TAPIR_TRY(check_tap(fd.get()));
      taps_.push_back(std::move(fd));
    }
    return {};
  }

  // Whether a descriptor is the next queue of the tap.
  Status check_tap(int fd) {
    ifreq tap{};
    if (::ioctl(fd, TUNGETIFF, &tap) < 0) {
      return failed("sent a descriptor that is no tap");
    }
    const std::string name = printable(tap.ifr_name, IFNAMSIZ);
    if ((tap.ifr_flags & IFF_TAP) == 0) {
      return failed(fmt::format("sent the tun '{}', which carries IP packets without Ethernet", name));
    }
    if (request_.queues > 1 && (tap.ifr_flags & IFF_MULTI_QUEUE) == 0) {
      return failed(fmt::format("sent tap '{}', which has one queue only", name));
    }
    if (taps_.empty()) {
      name_ = name;
    } else if (name_ != name) {
      return failed(fmt::format("sent queues of two taps, '{}' and '{}'", name_, name));
    }
    return {};
  }

  // "bridge 'br0': the helper '/path' exited with status 1 and says: no such bridge; CAUSE"
  tl::unexpected<Error> failed(const std::string& what,
                               const std::optional<std::string>& cause = std::nullopt) {
    socket_.reset();  // it may wait for us to read
    static_cast<void>(child_.wait(std::min(deadline_, Clock::now() + kLastWords)));
    const std::string words = one_line(child_.errors());
    return fail(fmt::format("bridge '{}': the helper '{}' {}{}{}", printable(bridge_, kShownBytes),
                            printable(program_, kShownBytes), what,
                            words.empty() ? "" : " and says: " + words, cause ? "; " + *cause : ""));
  }

  const BridgeRequest& request_;
  const std::string program_;
  const bool program_is_helper_;
  const std::string bridge_;
  ChildProcess child_;
  UniqueFd socket_;  // none: the other end is closed
  const Clock::time_point deadline_;
  std::vector<UniqueFd> taps_;
  std::string name_;  // of the tap that the first is a queue of
};

}  // namespace

std::string default_bridge_helper() {
  return TAPIR_BRIDGE_HELPER_PATH;
}

Result<std::optional<std::string>> bridge_in_helper(std::string_view helper) {
  if (!is_command(helper)) {
    return std::optional<std::string>();
  }
  TAPIR_TRY_ASSIGN(const std::vector<std::string> words, split_command(helper));
  return bridge_among(words);
}

Result<std::vector<UniqueFd>> request_taps(const BridgeRequest& request) {
  CHECK(request.queues >= 1 && request.queues <= kMaxPassedFds);
  TAPIR_TRY_ASSIGN(const Launch launch, plan_launch(request));
  const Clock::time_point begin = Clock::now();
  TAPIR_TRY_ASSIGN(const bool is_of_tapir, is_helper_of_tapir(launch, request, begin + request.limit / 2));
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0) {
    return fail_errno("socketpair for the bridge helper");
  }
  UniqueFd ours(ends[0]);
  UniqueFd of_helper(ends[1]);
  ChildDescriptors descriptors;
  if (launch.socket_is_input) {
    descriptors.input = of_helper.get();
  } else {
    descriptors.kept = {of_helper.get()};
  }
  TAPIR_TRY_ASSIGN(ChildProcess child, start(helper_words(launch, request, is_of_tapir), descriptors));
  of_helper.reset();
  return HelperRun(request, launch, std::move(child), std::move(ours), begin + request.limit).finish();
}

}  // namespace tapir::net
