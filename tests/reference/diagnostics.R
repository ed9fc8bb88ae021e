# Generalised variance inflation (car), and residuals whitened subject by subject from a fit of nlme.
# Run in this folder: Rscript diagnostics.R > diagnostics.json
suppressMessages({library(lme4); library(nlme); library(car); library(jsonlite)})

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
dietox <- read("dietox", c("Pig", "Cu", "Evit"))
thinned <- dietox[seq_len(nrow(dietox)) %% 7 != 0, ]
fit <- lmer(Weight ~ Time + Start + Cu + Evit + (Time | Pig), thinned,
            control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10)))
sleep <- read("sleepstudy", "Subject")
slopes <- lme(Reaction ~ Days, sleep, ~ Days | Subject, control = lmeControl(msMaxIter = 500, tolerance = 1e-10))
# lme has no residuals scaled by the whole covariance of a subject; here from its estimates
V <- function(subject) {
  rows <- sleep[sleep$Subject == subject, ]
  Z <- cbind(1, rows$Days)
  Z %*% unclass(getVarCov(slopes)) %*% t(Z) + slopes$sigma^2 * diag(nrow(rows))
}
marginal <- resid(slopes, level = 0)
whitened <- unlist(lapply(levels(sleep$Subject), function(s) {
  forwardsolve(t(chol(V(s))), marginal[sleep$Subject == s])
}))
table <- vif(fit)
cat(toJSON(list(
  vif = list(formula = "Weight ~ Time + Start + Cu + Evit + (Time | Pig)", terms = rownames(table),
             df = table[, "Df"], gvif = table[, "GVIF"], scaled = table[, "GVIF^(1/(2*Df))"]),
  whitened = list(formula = "Reaction ~ Days + (Days | Subject)", values = unname(whitened))
), digits = 15, auto_unbox = TRUE, pretty = TRUE), "\n")
