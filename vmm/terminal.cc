// SPDX-License-Identifier: Apache-2.0
#include "vmm/terminal.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "net/base/check.h"

namespace tapir::vmm {
namespace {

bool ready(int fd, short events) {
  pollfd entry{fd, events, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & (events | POLLHUP)) != 0;
}

}  // namespace

Result<std::unique_ptr<Terminal>> Terminal::create(EventLoop& loop, int input_fd, int help_fd,
                                                   TerminalOptions options, Handlers handlers) {
  TAPIR_TRY_ASSIGN(EventFd retry, EventFd::create());
  std::unique_ptr<Terminal> terminal(
      new Terminal(loop, input_fd, help_fd, options, std::move(handlers), std::move(retry)));
  TAPIR_TRY(terminal->start());
  return terminal;
}

Terminal::Terminal(EventLoop& loop, int input_fd, int help_fd, TerminalOptions options, Handlers handlers,
                   EventFd retry)
    : loop_(loop),
      input_fd_(input_fd),
      help_fd_(help_fd),
      options_(options),
      handlers_(std::move(handlers)),
      retry_(std::move(retry)) {}

Terminal::~Terminal() {
  loop_.remove(input_fd_);
  loop_.remove(retry_.fd());
}

Status Terminal::start() {
  TAPIR_TRY(loop_.add(retry_.fd(), EPOLLIN, [this](std::uint32_t) {
    retry_.clear();
    deliver();
  }));
  if (::isatty(input_fd_) == 0) {
    set_reading(Reading::kYes);
    return {};
  }
  TAPIR_TRY_ASSIGN(RawMode raw, RawMode::prepare(input_fd_, options_.keep_signals));
  raw_.emplace(std::move(raw));
  TAPIR_TRY_ASSIGN(foreground_timer_, LoopTimer::create(loop_, [this] { resume(); }));
  resume();
  return {};
}

void Terminal::set_reading(Reading reading) {
  if (reading_ == reading || reading_ == Reading::kEnded) {
    return;
  }
  reading_ = reading;
  // Removed rather than paused: a hang-up is reported even of a paused descriptor, without end.
  loop_.remove(input_fd_);
  if (reading == Reading::kYes && !loop_.add(input_fd_, EPOLLIN, [this](std::uint32_t) { on_readable(); })) {
    reading_ = Reading::kEnded;
  }
}

void Terminal::suspend() {
  if (raw_) {
    raw_->leave();
  }
  ::kill(::getpid(), SIGSTOP);
  resume();
}

void Terminal::resume() {
  if (!raw_) {
    return;
  }
  raw_->enter();
  if (raw_->in_foreground()) {
    foreground_timer_->cancel();
    set_reading(Reading::kYes);
  } else {
    constexpr std::chrono::seconds kEverySecond(1);
    foreground_timer_->start(kEverySecond, kEverySecond);
    set_reading(Reading::kBackground);
  }
}

void Terminal::on_readable() {
  if (raw_ && !raw_->in_foreground()) {
    resume();
    return;
  }
  // The descriptor may be shared and blocking: another reader may have been faster.
  if (!ready(input_fd_, POLLIN)) {
    return;
  }
  std::array<std::byte, 4096> buffer{};
  const ssize_t count = ::read(input_fd_, buffer.data(), buffer.size());
  if (count > 0) {
    on_bytes(std::span(buffer).first(static_cast<std::size_t>(count)));
  } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
    set_reading(Reading::kEnded);
  }
}

void Terminal::on_bytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (!options_.escapes || !raw_) {
      pending_.insert(pending_.end(), bytes.begin(), bytes.end());
      break;
    }
    const auto step = parser_.feed(bytes, pending_);
    bytes = bytes.subspan(step.consumed);
    if (step.action == EscapeParser::Action::kHelp) {
      print_help();
    } else if (step.action == EscapeParser::Action::kQuit) {
      deliver();
      handlers_.quit();
      return;
    }
  }
  deliver();
}

void Terminal::deliver() {
  while (!pending_.empty()) {
    const std::size_t taken = handlers_.input(pending_);
    CHECK(taken <= pending_.size());
    if (taken == 0) {
      break;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  if (raw_) {
    if (pending_.size() > kMaxPending) {
      pending_.resize(kMaxPending);
    }
  } else {
    set_reading(pending_.size() < kMaxPending ? Reading::kYes : Reading::kFull);
  }
}

void Terminal::print_help() const {
  // A terminal that takes no output goes without help rather than hold up the control thread.
  if (ready(help_fd_, POLLOUT)) {
    const auto text = EscapeParser::kHelp;
    [[maybe_unused]] const auto written = ::write(help_fd_, text.data(), text.size());
  }
}

}  // namespace tapir::vmm
