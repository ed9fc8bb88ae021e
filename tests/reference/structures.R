# Residual covariance structures of nlme's gls on Orthodont, with visits left out: criteria, coefficients, standard errors
# (of the inverse of X'V^-1X, without gls's factor by ML), and the covariance of a complete subject.
# Run in this folder: Rscript structures.R > structures.json
suppressMessages({library(nlme); library(jsonlite)})

frame <- read.csv(file.path("..", "data", "Orthodont.csv"))
frame <- frame[seq_len(nrow(frame)) %% 7 != 3, ]
frame$visit <- (frame$age - 8) / 2 + 1
frame$v <- factor(frame$visit)
frame$Sex <- factor(frame$Sex, levels = c("Male", "Female"))
frame$weight <- 1 + (seq_len(nrow(frame)) %% 3)
het <- varIdent(form = ~ 1 | v)

cases <- list(
  us = list(corSymm(form = ~ visit | Subject), het),
  cs = list(corCompSymm(form = ~ visit | Subject), NULL),
  csh = list(corCompSymm(form = ~ visit | Subject), het),
  ar1 = list(corAR1(form = ~ visit | Subject), NULL),
  ar1h = list(corAR1(form = ~ visit | Subject), het),
  exp = list(corExp(form = ~ age | Subject), NULL),
  gau = list(corGaus(form = ~ age | Subject), NULL),
  idh = list(NULL, het)
)
tight <- glsControl(maxIter = 500, msMaxIter = 5000, tolerance = 1e-10, msTol = 1e-12)
out <- lapply(cases, function(case) {
  sapply(c("REML", "ML"), function(method) {
    fit <- gls(distance ~ age * Sex, frame, correlation = case[[1]], weights = case[[2]], method = method, control = tight)
    factor <- if (method == "ML") (fit$dims$N - fit$dims$p) / fit$dims$N else 1
    list(minus2_loglik = -2 * as.numeric(logLik(fit)), n_params = attr(logLik(fit), "df"), coefficients = unname(coef(fit)),
         std_errors = unname(sqrt(diag(fit$varBeta) * factor)))
  }, simplify = FALSE)
})
out$versions <- list(R = R.version.string, nlme = as.character(packageVersion("nlme")))
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
