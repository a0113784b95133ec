// SPDX-License-Identifier: Apache-2.0
#include "virtio/io_thread.h"

#include <pthread.h>

#include <csignal>
#include <optional>
#include <system_error>
#include <utility>

#include "net/base/check.h"

namespace tapir::virtio {

IoThread::IoThread(std::unique_ptr<net::FrameIo> io, EventFd message_event)
    : io_(std::move(io)), features_(io_->features()), message_event_(std::move(message_event)) {}

Result<std::unique_ptr<IoThread>> IoThread::start(std::unique_ptr<net::FrameIo> io, const std::string& name) {
  TAPIR_TRY_ASSIGN(EventFd message_event, EventFd::create());
  std::unique_ptr<IoThread> io_thread(new IoThread(std::move(io), std::move(message_event)));
  // The first answer is that of the engine's start, which has to happen on its own thread.
  io_thread->message_ = Message::kDetach;
  try {
    io_thread->thread_ = std::thread(&IoThread::run, io_thread.get(), name);
  } catch (const std::system_error& error) {
    return fail(std::string("cannot start an I/O thread: ") + error.what(), error.code().value());
  }
  std::unique_lock lock(io_thread->mutex_);
  io_thread->answered_.wait(lock, [&] { return io_thread->message_ == Message::kNone; });
  Status started = std::exchange(io_thread->answer_, {});
  lock.unlock();
  if (!started) {
    io_thread->thread_.join();
    return tl::unexpected<Error>(std::move(started).error());
  }
  return io_thread;
}

IoThread::~IoThread() {
  if (thread_.joinable()) {
    static_cast<void>(post(Message::kQuit, nullptr));
    thread_.join();
  }
}

Status IoThread::attach(IoClient& client) {
  return post(Message::kAttach, &client);
}

void IoThread::detach() {
  static_cast<void>(post(Message::kDetach, nullptr));
}

Status IoThread::call(const Task& task) {
  return post(Message::kCall, nullptr, &task);
}

Status IoThread::post(Message message, IoClient* client, const Task* task) {
  const std::lock_guard sender(senders_);
  std::unique_lock lock(mutex_);
  CHECK(message_ == Message::kNone);
  message_ = message;
  message_client_ = client;
  message_task_ = task;
  message_event_.signal();
  answered_.wait(lock, [this] { return message_ == Message::kNone; });
  return std::exchange(answer_, {});
}

void IoThread::answer(Status status) {
  const std::lock_guard lock(mutex_);
  message_ = Message::kNone;
  answer_ = std::move(status);
  // Under the lock: the waiter may destroy nothing of ours before it is released.
  answered_.notify_all();
}

void IoThread::run(const std::string& name) {
  // Signals are the main thread's business; one that landed here would only break the sleep.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());

  Status started = io_->start();
  if (started) {
    if (auto bit = io_->watch(message_event_.fd())) {
      message_bit_ = *bit;
    } else {
      started = tl::unexpected<Error>(std::move(bit).error());
    }
  }
  const bool usable = started.has_value();
  answer(std::move(started));
  while (usable && !quit_) {
    // With more to do, a deadline long past: the wait only collects what became ready meanwhile, messages
    // among it.
    const auto deadline = more_                ? std::optional(net::FrameIo::Clock::time_point{})
                          : client_ != nullptr ? client_->deadline()
                                               : std::nullopt;
    const net::FrameIo::WaitResult ready = io_->wait(deadline);
    if ((ready.watched >> message_bit_ & 1U) != 0) {
      obey();
    }
    if (client_ != nullptr) {
      more_ = client_->turn(*io_, ready);
    }
  }
  io_->stop();
}

void IoThread::obey() {
  Message message = Message::kNone;
  IoClient* client = nullptr;
  const Task* task = nullptr;
  {
    const std::lock_guard lock(mutex_);
    message = message_;
    client = message_client_;
    task = message_task_;
  }
  Status status;
  if (message == Message::kAttach) {
    CHECK(client_ == nullptr);
    status = client->start(*io_);
    if (status) {
      client_ = client;
    }
  } else if (message == Message::kCall) {
    status = (*task)(*io_);
  } else if (message != Message::kNone) {
    if (client_ != nullptr) {
      client_->stop(*io_);
    }
    client_ = nullptr;
    more_ = false;
    quit_ = message == Message::kQuit;
  }
  if (message != Message::kNone) {
    answer(std::move(status));
  }
}

}  // namespace tapir::virtio
