// SPDX-License-Identifier: Apache-2.0
#include "vmm/serial_output.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "net/base/event_fd.h"

namespace tapir::vmm {
namespace {

using std::chrono::milliseconds;

/// A pipe that polls as writable takes this much without blocking.
constexpr std::size_t kPieceBytes = PIPE_BUF;
/// How long the thread gathers bytes before it writes less than a piece. A guest sends them one by one, and
/// one system call for each would cost more than the guest's own work.
constexpr milliseconds kGatherTime{1};
/// Pause when a descriptor polls as writable and then is not.
constexpr milliseconds kRetryTime{10};
/// How long a thread that was told to end may take, if nothing holds it.
constexpr milliseconds kEndTime{200};

}  // namespace

/// The ring and the thread's side of it. Outlives the SerialOutput when the thread had to be abandoned.
class SerialOutput::State {
 public:
  State(UniqueFd fd, EventFd stop) : fd_(std::move(fd)), stop_event_(std::move(stop)), ring_(kRingBytes) {}

  void put(std::span<const std::byte> bytes);
  bool flush(milliseconds limit);
  /// Tells the thread to end and returns whether it has.
  bool stop();
  SerialLoss loss() const;

  void run();  ///< the thread

 private:
  std::span<const std::byte> take_piece(std::span<std::byte, kPieceBytes> into);
  std::size_t write_piece(std::span<const std::byte> piece, int& error) const;
  bool wait_writable() const;
  void pause() const;

  const UniqueFd fd_;  ///< our own number for the same open file: the caller may close and reuse its own
  const EventFd stop_event_;  ///< wakes the thread out of poll(2)

  mutable std::mutex mutex_;
  std::condition_variable work_;      ///< to the thread
  std::condition_variable progress_;  ///< from the thread
  std::vector<std::byte> ring_;
  std::size_t head_ = 0;
  std::size_t used_ = 0;
  std::size_t in_flight_ = 0;  ///< out of the ring, not yet written
  unsigned flushers_ = 0;
  bool stopping_ = false;
  bool ended_ = false;
  std::uint64_t unread_ = 0;   ///< lost because the ring was full, or not empty at the end
  std::uint64_t refused_ = 0;  ///< lost because write(2) failed
  int error_ = 0;              ///< the last of write(2)
};

void SerialOutput::State::put(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t before = used_;
  const auto fits = bytes.first(std::min(bytes.size(), kRingBytes - used_));
  const std::size_t tail = (head_ + used_) % kRingBytes;
  const std::size_t until_wrap = std::min(fits.size(), kRingBytes - tail);
  std::copy_n(fits.begin(), until_wrap, ring_.begin() + static_cast<std::ptrdiff_t>(tail));
  std::copy(fits.begin() + static_cast<std::ptrdiff_t>(until_wrap), fits.end(), ring_.begin());
  used_ += fits.size();
  unread_ += bytes.size() - fits.size();
  const bool piece_complete = before < kPieceBytes && used_ >= kPieceBytes;
  if ((before == 0 && used_ > 0) || piece_complete) {
    work_.notify_one();
  }
}

bool SerialOutput::State::flush(milliseconds limit) {
  std::unique_lock lock(mutex_);
  ++flushers_;
  work_.notify_one();
  const bool empty =
      progress_.wait_for(lock, limit, [this] { return (used_ == 0 && in_flight_ == 0) || ended_; });
  --flushers_;
  return empty;
}

bool SerialOutput::State::stop() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  work_.notify_one();
  stop_event_.signal();
  if (progress_.wait_for(lock, kEndTime, [this] { return ended_; })) {
    return true;
  }
  // Inside write(2). What it writes of its piece in the end nobody will know.
  unread_ += used_ + in_flight_;
  used_ = 0;
  return false;
}

SerialLoss SerialOutput::State::loss() const {
  const std::lock_guard lock(mutex_);
  SerialLoss loss{unread_ + refused_, {}};
  if (refused_ != 0) {
    loss.reason = std::strerror(error_);  // NOLINT(concurrency-mt-unsafe): glibc's is thread-safe
  }
  if (unread_ != 0) {
    loss.reason += refused_ != 0 ? ", and its reader was too slow" : "its reader was too slow";
  }
  return loss;
}

void SerialOutput::State::run() {
  std::array<std::byte, kPieceBytes> buffer;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return used_ > 0 || stopping_; });
    work_.wait_for(lock, kGatherTime, [this] { return used_ >= kPieceBytes || flushers_ > 0 || stopping_; });
    if (stopping_) {
      break;
    }
    const auto piece = take_piece(buffer);
    lock.unlock();
    int error = 0;
    const std::size_t unwritten = write_piece(piece, error);
    lock.lock();
    in_flight_ = 0;
    (error != 0 ? refused_ : unread_) += unwritten;
    error_ = error != 0 ? error : error_;
    progress_.notify_all();
  }
  unread_ += used_;
  used_ = 0;
  ended_ = true;
  progress_.notify_all();
}

std::span<const std::byte> SerialOutput::State::take_piece(std::span<std::byte, kPieceBytes> into) {
  in_flight_ = std::min({used_, kPieceBytes, kRingBytes - head_});
  std::copy_n(ring_.begin() + static_cast<std::ptrdiff_t>(head_), in_flight_, into.begin());
  head_ = (head_ + in_flight_) % kRingBytes;
  used_ -= in_flight_;
  return into.first(in_flight_);
}

/// Returns how many bytes of it were lost: those that the descriptor refused, with the `error`, or that were
/// left on stop().
std::size_t SerialOutput::State::write_piece(std::span<const std::byte> piece, int& error) const {
  while (!piece.empty() && wait_writable()) {
    const ssize_t written = ::write(fd_.get(), piece.data(), piece.size());
    if (written > 0) {
      piece = piece.subspan(static_cast<std::size_t>(written));
    } else if (written < 0 && errno == EAGAIN) {
      pause();  // the descriptor was non-blocking when it came
    } else if (written == 0 || errno != EINTR) {
      error = written == 0 ? EIO : errno;
      break;  // ENOSPC, EFBIG, EPIPE, EIO: later bytes get their own try, since space and readers may come
              // back
    }
  }
  return piece.size();
}

/// False when it is time to stop. An error of the descriptor counts as writable: write(2) names it.
bool SerialOutput::State::wait_writable() const {
  std::array<pollfd, 2> fds{pollfd{fd_.get(), POLLOUT, 0}, pollfd{stop_event_.fd(), POLLIN, 0}};
  while (::poll(fds.data(), fds.size(), -1) < 0) {
    if (errno != EINTR) {
      return false;
    }
  }
  return fds[1].revents == 0;
}

void SerialOutput::State::pause() const {
  pollfd stop{stop_event_.fd(), POLLIN, 0};
  [[maybe_unused]] const int ready = ::poll(&stop, 1, static_cast<int>(kRetryTime.count()));
}

Result<std::unique_ptr<SerialOutput>> SerialOutput::start(int fd) {
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own) {
    return fail_errno("duplicate the descriptor of the serial output");
  }
  TAPIR_TRY_ASSIGN(EventFd stop, EventFd::create());
  auto state = std::make_shared<State>(std::move(own), std::move(stop));
  // A thread inherits the mask of its maker.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread writer;
  int error = 0;
  try {
    writer = std::thread([state] {
      ::pthread_setname_np(::pthread_self(), "serial-output");
      state->run();
    });
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    return fail_errno("start a thread for the serial output", error);
  }
  return std::unique_ptr<SerialOutput>(new SerialOutput(std::move(state), std::move(writer)));
}

SerialOutput::SerialOutput(std::shared_ptr<State> state, std::thread writer)
    : state_(std::move(state)), writer_(std::move(writer)) {}

SerialOutput::~SerialOutput() {
  finish();
}

void SerialOutput::finish() {
  if (!writer_.joinable()) {
    return;
  }
  flush(kFlushTime);
  if (state_->stop()) {
    writer_.join();
  } else {
    writer_.detach();  // inside write(2), on a terminal for example; it ends when that returns, or with the
                       // process
  }
}

void SerialOutput::put(std::span<const std::byte> bytes) {
  state_->put(bytes);
}

bool SerialOutput::flush(milliseconds limit) {
  return state_->flush(limit);
}

SerialLoss SerialOutput::loss() const {
  return state_->loss();
}

}  // namespace tapir::vmm
