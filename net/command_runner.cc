// SPDX-License-Identifier: Apache-2.0
#include "net/command_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "net/base/check.h"
#include "net/base/open_file.h"
#include "net/base/printable.h"

namespace tapir::net {
namespace {

constexpr std::size_t kCapturedBytes = 4096;
constexpr std::size_t kShownBytes = 512;
constexpr int kFirstKept = STDERR_FILENO + 1;

// A killed program is gone at once, unless the kernel holds it in a system call.
constexpr std::chrono::seconds kReapLimit{5};

// The state of split_command(): the word that grows, and whether there is one (it may be empty: '').
class WordList {
 public:
  void add(char c) {
    open_ = true;
    word_.push_back(c);
  }
  void open() { open_ = true; }
  void close() {
    if (std::exchange(open_, false)) {
      words_.push_back(std::exchange(word_, {}));
    }
  }
  std::vector<std::string> take() { return std::move(words_); }

 private:
  std::vector<std::string> words_;
  std::string word_;
  bool open_ = false;
};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n';
}

// A program that is started while SIGCHLD is ignored leaves no exit status behind. Whoever started us may
// have passed that on, and nobody here wants it.
void keep_exit_statuses() {
  struct sigaction action {};
  if (::sigaction(SIGCHLD, nullptr, &action) == 0 &&
      (action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT) != 0)) {
    action.sa_handler = SIG_DFL;
    action.sa_flags = 0;
    ::sigaction(SIGCHLD, &action, nullptr);
  }
}

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

// Our end does not block; the program's does, as programs expect.
Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) {
    return fail_errno("pipe2");
  }
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if (::fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK) < 0) {
    return fail_errno("fcntl(O_NONBLOCK)");
  }
  return pipe;
}

// What posix_spawn is told. Its objects and the copies of descriptors live until the program runs.
class SpawnPlan {
 public:
  SpawnPlan() {
    note(::posix_spawn_file_actions_init(&actions_));
    note(::posix_spawnattr_init(&attributes_));
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  // The program has `sources` as its descriptors 0, 1, 2, … and no others.
  Status set_descriptors(const std::vector<int>& sources) {
    const int end = static_cast<int>(sources.size());
    for (int target = 0; target < end; ++target) {
      // Copied above all targets: one of them may be the number of a source (when we run without 0, 1 or 2).
      UniqueFd copy(::fcntl(sources[static_cast<std::size_t>(target)], F_DUPFD_CLOEXEC, end));
      if (!copy) {
        return fail_errno("fcntl(F_DUPFD_CLOEXEC)");
      }
      note(::posix_spawn_file_actions_adddup2(&actions_, copy.get(), target));
      copies_.push_back(std::move(copy));
    }
    note(::posix_spawn_file_actions_addclosefrom_np(&actions_, end));
    return {};
  }

  // Signals that we ignore or block, and our process group, are not the program's.
  void set_signals() {
    sigset_t all;
    sigset_t none;
    ::sigfillset(&all);
    ::sigemptyset(&none);
    note(::posix_spawnattr_setsigdefault(&attributes_, &all));
    note(::posix_spawnattr_setsigmask(&attributes_, &none));
    note(::posix_spawnattr_setpgroup(&attributes_, 0));
    note(::posix_spawnattr_setflags(&attributes_,
                                    POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP));
  }

  Result<pid_t> run(const std::vector<std::string>& words) {
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (const std::string& word : words) {
      arguments.push_back(const_cast<char*>(word.c_str()));  // execve only reads
    }
    arguments.push_back(nullptr);
    pid_t pid = 0;
    if (code_ == 0) {
      note(::posix_spawnp(&pid, arguments[0], &actions_, &attributes_, arguments.data(), environ));
    }
    if (code_ != 0) {
      return fail_errno(fmt::format("cannot start '{}'", printable(words[0], kShownBytes)), code_);
    }
    return pid;
  }

 private:
  void note(int code) { code_ = code_ == 0 ? code : code_; }

  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  std::vector<UniqueFd> copies_;
  int code_ = 0;  // of the first call that failed
};

int poll_timeout(ChildProcess::Clock::time_point deadline) {
  using std::chrono::milliseconds;
  constexpr milliseconds kLongest = std::chrono::hours(1);  // then asked again
  const auto left = deadline - ChildProcess::Clock::now();
  if (left >= kLongest) {
    return static_cast<int>(kLongest.count());
  }
  return static_cast<int>(std::max(std::chrono::ceil<milliseconds>(left), milliseconds(0)).count());
}

}  // namespace

Result<std::vector<std::string>> split_command(std::string_view command) {
  WordList words;
  char quote = 0;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\\' && quote != '\'') {
      const bool last = i + 1 == command.size();
      if (last && quote == 0) {
        return fail(fmt::format("command '{}' ends with a backslash; write \\\\ for one",
                                printable(command, kShownBytes)),
                    EINVAL);
      }
      const bool escapes = !last && (quote == 0 || command[i + 1] == '\\' || command[i + 1] == '"');
      words.add(escapes ? command[++i] : c);
    } else if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        words.add(c);
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      words.open();
    } else if (is_blank(c)) {
      words.close();
    } else {
      words.add(c);
    }
  }
  if (quote != 0) {
    return fail(
        fmt::format("command '{}' has a {} without its other half", printable(command, kShownBytes), quote),
        EINVAL);
  }
  words.close();
  std::vector<std::string> result = words.take();
  if (result.empty() || result[0].empty()) {
    return fail(fmt::format("command '{}' names no program", printable(command, kShownBytes)), EINVAL);
  }
  return result;
}

std::string one_line(std::string_view text) {
  const std::size_t end = text.find_last_not_of(" \t\r\n");
  text = text.substr(0, end == std::string_view::npos ? 0 : end + 1);
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      line.append("; ");
    } else {
      line.push_back(c == '\t' ? ' ' : c);
    }
  }
  return printable(line, kShownBytes);
}

std::string ExitStatus::to_string() const {
  if (signal == 0) {
    return fmt::format("exited with status {}", code);
  }
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("was killed by SIG{}", name)
                         : fmt::format("was killed by signal {}", signal);
}

bool ChildProcess::Capture::read_some() {
  std::array<char, kCapturedBytes> part;
  const ssize_t size = ::read(pipe.get(), part.data(), part.size());
  if (size <= 0) {
    if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
      pipe.reset();
    }
    return false;
  }
  text.append(part.data(), std::min(static_cast<std::size_t>(size), kCapturedBytes - text.size()));
  return true;
}

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& words,
                                         const ChildDescriptors& descriptors) {
  CHECK(!words.empty());
  keep_exit_statuses();
  TAPIR_TRY_ASSIGN(const UniqueFd null, open_file("/dev/null", O_RDWR));
  TAPIR_TRY_ASSIGN(Pipe errors, make_pipe());
  Pipe output;
  if (descriptors.capture_output) {
    TAPIR_TRY_ASSIGN(output, make_pipe());
  }
  std::vector<int> sources = {descriptors.input.value_or(null.get()),
                              output.writer ? output.writer.get() : null.get(), errors.writer.get()};
  CHECK(sources.size() == kFirstKept);
  sources.insert(sources.end(), descriptors.kept.begin(), descriptors.kept.end());

  SpawnPlan plan;
  plan.set_signals();
  TAPIR_TRY(plan.set_descriptors(sources));
  TAPIR_TRY_ASSIGN(const pid_t pid, plan.run(words));
  ChildProcess child(pid);
  // glibc 2.36 declares pidfd_open() for C only.
  child.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!child.pidfd_) {
    return fail_errno(fmt::format("pidfd_open of '{}'", printable(words[0], kShownBytes)));
  }
  child.output_.pipe = std::move(output.reader);
  child.errors_.pipe = std::move(errors.reader);
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ == 0 || status_) {
    return;
  }
  const bool killed = ::kill(-pid_, SIGKILL) == 0;
  if (!pidfd_) {
    ::waitpid(pid_, nullptr, killed ? 0 : WNOHANG);
    return;
  }
  static_cast<void>(wait(killed ? Clock::now() + kReapLimit : Clock::time_point::min()));
}

std::optional<ExitStatus> ChildProcess::wait(Clock::time_point deadline) {
  static_cast<void>(wait_for(-1, deadline));
  return status_;
}

ChildProcess::Wake ChildProcess::wait_for(int fd, Clock::time_point deadline) {
  for (;;) {
    std::array<pollfd, 4> waits{{{fd, POLLIN, 0},
                                 {status_ ? -1 : pidfd_.get(), POLLIN, 0},
                                 {output_.pipe.get(), POLLIN, 0},
                                 {errors_.pipe.get(), POLLIN, 0}}};
    const bool expired = Clock::now() >= deadline;
    static_cast<void>(::poll(waits.data(), waits.size(), expired || status_ ? 0 : poll_timeout(deadline)));
    const auto& [readable, ended, has_output, has_errors] = waits;
    if (readable.revents != 0) {
      return Wake::kReadable;
    }
    if (status_) {
      return Wake::kEnded;
    }
    if (ended.revents != 0) {
      // poll(2) looked at `fd` before it: what the program did last may have come in between. Look again.
      reap();
      continue;
    }
    if (has_output.revents != 0) {
      output_.read_some();
    }
    if (has_errors.revents != 0) {
      errors_.read_some();
    }
    if (expired) {
      return Wake::kDeadline;
    }
  }
}

void ChildProcess::reap() {
  int status = 0;
  // Nobody else waits for children here, and keep_exit_statuses() saw to it that the kernel does not either.
  CHECK(::waitpid(pid_, &status, 0) == pid_);
  status_ =
      WIFSIGNALED(status) ? ExitStatus{.signal = WTERMSIG(status)} : ExitStatus{.code = WEXITSTATUS(status)};
  for (Capture* capture : {&output_, &errors_}) {
    // What it started in the background may go on writing for ever.
    while (capture->text.size() < kCapturedBytes && capture->pipe && capture->read_some()) {
    }
    capture->pipe.reset();
  }
}

}  // namespace tapir::net
