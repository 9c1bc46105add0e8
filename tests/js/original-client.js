// Create a WebSocket connection
const socket = new WebSocket('wss://your-project-ref.supabase.co/functions/v1/agent_websocket');
// Handle connection open
socket.addEventListener('open', (event) => {
console.log('Connected to Agent WebSocket');
});
// Handle incoming messages
socket.addEventListener('message', (event) => {
const message = JSON.parse(event.data);
console.log('Received message:', message);
// Handle different message types
switch (message.type) {
case 'response':
displayResponse(message.content);
break;
case 'notification':
showNotification(message.content);
break;
case 'status':
updateStatus(message.content);
break;
case 'error':
showError(message.content);
break;
}
});
// Handle errors
socket.addEventListener('error', (event) => {
console.error('WebSocket error:', event);
});
// Handle connection close
socket.addEventListener('close', (event) => {
console.log('Connection closed:', event.code, event.reason);
// Attempt to reconnect if the connection was closed unexpectedly
if (event.code !== 1000) {
setTimeout(() => {
console.log('Attempting to reconnect...');
// Reconnect logic here
}, 3000);
}
});
// Send a message
function sendMessage(content) {
socket.send(JSON.stringify({
type: 'query',
content: content,
timestamp: new Date().toISOString()
}));
}