// SPDX-License-Identifier: Apache-2.0
#include "vmm/broker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "net/base/log.h"
#include "net/base/open_file.h"
#include "net/command_runner.h"

namespace tapir::vmm {
namespace {

using Clock = net::ChildProcess::Clock;

// Those of the terminal, and those that are sent to all processes of a group or service at once. A program
// that the broker starts has their default actions all the same.
constexpr std::array kIgnoredSignals = {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGHUP, SIGTERM, SIGPIPE};

// Shorter than the message of any command.
constexpr std::string_view kSeal("\0", 1);

// A command as one message: the context and the words, a zero byte after each.
std::string encode(const BrokerCommand& command) {
  std::string message = command.context + '\0';
  for (const std::string& word : command.words) {
    message.append(word).push_back('\0');
  }
  return message;
}

BrokerCommand decode(std::string_view message) {
  BrokerCommand command;
  const auto take = [&message] {
    const std::size_t end = message.find('\0');
    std::string part(message.substr(0, end));
    message.remove_prefix(end + 1);
    return part;
  };
  command.context = take();
  while (!message.empty()) {
    command.words.push_back(take());
  }
  return command;
}

// The rest of this part runs in the broker.

// Closes all but the socket and standard error.
bool close_descriptors(int socket) {
  const auto kept = static_cast<unsigned>(socket);
  constexpr unsigned kFirst = STDERR_FILENO + 1;
  if ((kept > kFirst && ::close_range(kFirst, kept - 1, 0) < 0) || ::close_range(kept + 1, UINT_MAX, 0) < 0) {
    return false;
  }
  const auto null = open_file("/dev/null", O_RDWR);
  return null && ::dup2(null->get(), STDIN_FILENO) >= 0 && ::dup2(null->get(), STDOUT_FILENO) >= 0;
}

void run(const BrokerCommand& command) {
  const auto warn = [&command](std::string_view what) {
    log(LogLevel::kWarning, fmt::format("{}: {}", command.context, what));
  };
  auto child = net::ChildProcess::start(command.words, {});
  if (!child) {
    warn(child.error().message());
    return;
  }
  const auto status = child->wait(Clock::now() + Broker::kCommandLimit);
  if (status && status->success()) {
    return;
  }
  std::string what =
      fmt::format("'{}' {}", net::one_line(command.words[0]),
                  status ? status->to_string()
                         : fmt::format("did not end in {} s and was stopped", Broker::kCommandLimit.count()));
  if (const std::string words = net::one_line(child->errors()); !words.empty()) {
    what.append(" and says: ").append(words);
  }
  warn(what);
}

// The next message into `message`, whose size is the most that there can be; its length, or 0 at the end.
std::size_t receive(int socket, std::string& message) {
  for (;;) {
    const ssize_t size = ::recv(socket, message.data(), message.size(), 0);
    if (size >= 0 || errno != EINTR) {
      return static_cast<std::size_t>(std::max<ssize_t>(size, 0));
    }
  }
}

// The commands, when it is time to run them.
std::vector<BrokerCommand> receive_commands(int socket) {
  std::vector<BrokerCommand> commands;
  std::string message(Broker::kMaxCommandBytes, '\0');
  while (const std::size_t size = receive(socket, message)) {
    const std::string_view text(message.data(), size);
    if (text == kSeal) {
      receive(socket, message);  // the end, and nothing but that
      break;
    }
    commands.push_back(decode(text));
  }
  return commands;
}

[[noreturn]] void serve(int socket) {
  for (const int number : kIgnoredSignals) {
    ::signal(number, SIG_IGN);
  }
  ::prctl(PR_SET_NAME, "tapir-broker");
  // Its own session: no terminal can send it a signal, or hang up on it.
  if (::setsid() < 0 || !close_descriptors(socket) || ::send(socket, "", 1, 0) != 1) {
    ::_exit(EXIT_FAILURE);
  }
  const std::vector<BrokerCommand> commands = receive_commands(socket);
  for (const BrokerCommand& command : commands) {
    run(command);
  }
  ::_exit(EXIT_SUCCESS);  // not exit(): its handlers belong to the process that was forked
}

// Whether the socket has a message or its end, at `deadline` at the latest.
bool wait_readable(int socket, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd readable{socket, POLLIN, 0};
    const int ready = ::poll(&readable, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) {
      return true;
    }
    if (ready == 0 || errno != EINTR) {
      return false;
    }
  }
}

// How the broker ended, if it did not do its work to the end. Nothing also when nobody can know, since
// whoever started this process has it ignore SIGCHLD.
std::optional<std::string> reap(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)) {
    return std::nullopt;
  }
  return WIFSIGNALED(status) ? net::ExitStatus{.signal = WTERMSIG(status)}.to_string()
                             : net::ExitStatus{.code = WEXITSTATUS(status)}.to_string();
}

}  // namespace

Result<std::unique_ptr<Broker>> Broker::start() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) < 0) {
    return fail_errno("socketpair for the broker of down-scripts");
  }
  UniqueFd ours(ends[0]);
  UniqueFd of_broker(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fail_errno("cannot fork the broker of down-scripts");
  }
  if (pid == 0) {
    serve(of_broker.get());
  }
  of_broker.reset();
  std::unique_ptr<Broker> broker(new Broker(pid, std::move(ours)));
  char ready = 0;
  ssize_t size = 0;
  do {
    size = ::recv(broker->socket_.get(), &ready, 1, 0);
  } while (size < 0 && errno == EINTR);
  if (size != 1) {
    return fail("the broker of down-scripts could not be set up; the host lacks descriptors or /dev/null");
  }
  return broker;
}

Broker::~Broker() {
  finish();
}

Status Broker::add(const BrokerCommand& command) {
  const std::string message = encode(command);
  if (message.size() > kMaxCommandBytes) {
    return fail(
        fmt::format("the command has {} bytes; {} is the most that there can be; put it into a script",
                    message.size(), kMaxCommandBytes),
        E2BIG);
  }
  TAPIR_TRY(send(message));
  ++commands_;
  return {};
}

Status Broker::seal() {
  return send(kSeal);
}

Status Broker::send(std::string_view message) const {
  if (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    return fail_errno(fmt::format("the broker of down-scripts (process {}) cannot be reached", pid_));
  }
  return {};
}

void Broker::finish() {
  if (!socket_) {
    return;
  }
  ::shutdown(socket_.get(), SHUT_WR);
  // Each command has its time, and as much again may pass before a killed one is gone.
  if (!wait_readable(socket_.get(), Clock::now() + std::chrono::seconds(1) + 2 * commands_ * kCommandLimit)) {
    log(LogLevel::kWarning, fmt::format("the broker (process {}) still runs down-scripts", pid_));
  } else if (const auto end = reap(pid_)) {
    log(LogLevel::kWarning,
        fmt::format("the broker {} before all down-scripts were done; the rules of these taps may "
                    "be left",
                    *end));
  }
  socket_.reset();
}

}  // namespace tapir::vmm
