// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "net/frame_io.h"

namespace tapir::virtio {

/// What an I/O thread runs while a device is active. All of it is called on the I/O thread.
class IoClient {
 public:
  IoClient() = default;
  IoClient(const IoClient&) = delete;
  IoClient& operator=(const IoClient&) = delete;
  virtual ~IoClient() = default;

  /// Takes over: sets up the backend and watches its eventfds. After an error nothing is left watched.
  [[nodiscard]] virtual Status start(net::FrameIo& io) = 0;
  /// Does what `ready` tells of, for a bounded time. Also called once right after start(), with nothing
  /// ready. Returns whether there is more to do at once; if not, the thread sleeps until something is ready.
  [[nodiscard]] virtual bool turn(net::FrameIo& io, const net::FrameIo::WaitResult& ready) = 0;
  /// When the next turn is due even if nothing becomes ready. Asked after each turn that left nothing to do.
  virtual std::optional<net::FrameIo::Clock::time_point> deadline() const { return std::nullopt; }
  /// Lets go: nothing watched, nothing in flight, no frames wanted.
  virtual void stop(net::FrameIo& io) = 0;
};

/// The I/O thread of one queue pair. It owns the host end (FrameIo) and serves one client at a time, from
/// attach() to detach(); in between it sleeps. It lives as long as the host end does, which is longer than a
/// device: a guest's reboot makes the machine anew, while an engine on io_uring is bound to the thread that
/// started it.
///
/// attach(), detach(), call() and destruction: from any thread but its own, which waits for those before it.
/// They are messages, and return when the I/O thread has obeyed; so their caller may not hold a lock that the
/// client takes.
class IoThread {
 public:
  using Task = std::function<Status(net::FrameIo& io)>;

  /// Starts the engine on a new thread. `name` is what ps and top show, up to 15 bytes of it.
  [[nodiscard]] static Result<std::unique_ptr<IoThread>> start(std::unique_ptr<net::FrameIo> io,
                                                               const std::string& name);

  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;
  /// No client may be attached.
  ~IoThread();

  /// What the host end can do; never changes.
  const net::FrameIoFeatures& features() const { return features_; }
  /// Of the host end since it was made, which is before the first client. Any thread, any time.
  const net::FrameIoCounters& counters() const { return io_->counters(); }

  /// The thread calls client.start(), whose error is returned, and then its turns. `client` is borrowed.
  [[nodiscard]] Status attach(IoClient& client);
  /// client.stop() was called when this returns, and the client is not used any more. Harmless without one.
  void detach();
  /// The thread carries out the task between two turns of its client, whose error is returned.
  [[nodiscard]] Status call(const Task& task);

 private:
  enum class Message : std::uint8_t { kNone, kAttach, kDetach, kCall, kQuit };

  IoThread(std::unique_ptr<net::FrameIo> io, EventFd message_event);

  Status post(Message message, IoClient* client, const Task* task = nullptr);
  /// Runs on the I/O thread until kQuit.
  void run(const std::string& name);
  void obey();
  void answer(Status status);

  const std::unique_ptr<net::FrameIo> io_;
  const net::FrameIoFeatures features_;
  const EventFd message_event_;
  unsigned message_bit_ = 0;

  // Of the I/O thread.
  IoClient* client_ = nullptr;
  bool more_ = false;
  bool quit_ = false;

  std::mutex senders_;  ///< held by the one whose message it is
  std::mutex mutex_;    ///< guards the message and its answer
  std::condition_variable answered_;
  Message message_ = Message::kNone;
  IoClient* message_client_ = nullptr;
  const Task* message_task_ = nullptr;
  Status answer_;

  std::thread thread_;
};

}  // namespace tapir::virtio
